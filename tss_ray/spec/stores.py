"""How object stores are spoken to."""

from typing import Literal

from pydantic import Field

from tss_ray.spec.group import Group, Uri


class PrefixSpec(Group):
    """How S3 is spoken to below one prefix; what is not told is as everywhere."""

    prefix: Uri = Field(pattern=r"^s3://[^/]+", description="a bucket, or a folder of one: s3://bucket/lr")
    s3_endpoint_url: Uri | None = None
    s3_region: str | None = None
    s3_addressing: Literal["auto", "path", "virtual"] | None = None
    s3_profile: str | None = None
    s3_requester_pays: bool | None = None

    def holds(self, uri: str) -> bool:
        """Whether a URI is the prefix or lies below it; a folder's name never holds that of another."""
        return f"{uri.rstrip('/')}/".startswith(f"{self.prefix.rstrip('/')}/")


class StoreSpec(Group):
    """How S3 is spoken to; nothing here changes a pixel."""

    s3_endpoint_url: Uri | None = Field(None, description="any S3-compatible server; None: AWS, or AWS_ENDPOINT_URL")
    s3_region: str | None = None
    s3_addressing: Literal["auto", "path", "virtual"] = "auto"
    s3_profile: str | None = Field(
        None, description="a section of ~/.aws/config on every node, where a role may stand; None: boto3's chain"
    )
    s3_requester_pays: bool = Field(False, description="pay for reading buckets that ask their readers to")
    prefixes: tuple[PrefixSpec, ...] = Field((), description="where it is spoken to otherwise; the longest one holds")
    max_attempts: int = Field(8, ge=1, le=50, description="tries of one request, with back-off")

    def at(self, uri: str) -> "StoreSpec":
        """Return the settings for what lies at a URI, with no prefixes left in them."""
        holding = [prefix for prefix in self.prefixes if prefix.holds(uri)]
        told = (
            max(holding, key=lambda p: len(p.prefix)).model_dump(exclude={"prefix"}, exclude_none=True)
            if holding
            else {}
        )
        return self.model_copy(update={**told, "prefixes": ()}) if self.prefixes else self
