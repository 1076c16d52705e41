"""What a person reads about plans and runs: tables and plots."""
