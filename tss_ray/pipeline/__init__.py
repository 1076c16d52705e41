"""The only room that imports Ray: the streaming graph, its actors and their resources."""
