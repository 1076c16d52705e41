"""What every group of settings is: frozen, closed to unknown keys, with URLs that anybody may see."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Group(BaseModel):
    """Settings that belong together; a field's description is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _without_credentials(url: str) -> str:
    """Refuse a URL with a user or a password in it: specs lie beside the images, in logs, and travel to clusters."""
    scheme, found, rest = url.partition("://")
    authority = rest.partition("/")[0]
    if found and ("@" in authority or (scheme == "s3" and ":" in authority)):
        told = "a URL with credentials in it; take them out and leave them to boto3's chain (environment, role)"
        raise PydanticCustomError(CREDENTIALS, told)
    return url


CREDENTIALS = "credentials_in_url"
Uri = Annotated[str, AfterValidator(_without_credentials)]
"""A path, glob or URL that may be shown to anybody."""
