"""Source: where a model's weights come from."""

from pydantic import Field

from tomoul.api.addresses import AbsolutePath, BucketName, OciReference, RelativePath, StoreUrl
from tomoul.api.meta import ApiModel
from tomoul.api.names import HuggingFaceRepository, Jurisdiction, ObjectName, Revision
from tomoul.api.rules import rule
from tomoul.api.secret import SecretKeyRef


class HuggingFaceSource(ApiModel):
    """Weights that the loader downloads from a Hugging Face repository."""

    repo: HuggingFaceRepository = Field(description="Repository, such as `microsoft/phi-4`")
    revision: Revision = Field(description="Commit or tag; pin a commit in production")
    file: RelativePath | None = Field(default=None, description="One file of it, which LlamaCpp needs: its GGUF")
    token: SecretKeyRef | None = Field(default=None, description="Access token for a gated repository")
    endpoint: StoreUrl | None = Field(default=None, description="Mirror in the place of `https://huggingface.co`")


class S3Credentials(ApiModel):
    """Keys that may read the bucket."""

    access_key_id: SecretKeyRef = Field(description="Access key id")
    secret_access_key: SecretKeyRef = Field(description="Secret access key")


class S3Source(ApiModel):
    """Weights that the loader downloads from a bucket of S3, or of a store that speaks its protocol."""

    bucket: BucketName = Field(description="Bucket name")
    folder: RelativePath = Field(description="Folder in the bucket; each version of the weights needs its own")
    file: RelativePath | None = Field(default=None, description="One file of it, which LlamaCpp needs: its GGUF")
    endpoint: StoreUrl | None = Field(default=None, description="Store that is not AWS', such as MinIO")
    region: str = Field(default="us-east-1", min_length=1, max_length=63, description="AWS' region of the bucket")
    credentials: S3Credentials | None = Field(
        default=None, description="Keys; without them the pods' own identity, if AWS gives them one, or none"
    )


class OciSource(ApiModel):
    """Weights that the loader pulls from an OCI registry: an artifact whose layers are files, as of `oras push`."""

    reference: OciReference = Field(
        description="Artifact, such as `registry.example.com/models/phi-4@sha256:…`; pin a digest in production"
    )
    file: RelativePath | None = Field(default=None, description="One file of it, which LlamaCpp needs: its GGUF")
    credentials: SecretKeyRef | None = Field(
        default=None,
        description="Docker config with the registry's host, such as key `.dockerconfigjson` of a pull secret",
    )
    plain_http: bool = Field(default=False, description="Whether the registry speaks HTTP, in a trusted network")


class PvcSource(ApiModel):
    """Weights on a PersistentVolumeClaim of the same namespace, mounted read-only."""

    claim_name: ObjectName = Field(description="PersistentVolumeClaim name")
    path: RelativePath = Field(description="Path in the volume, relative")


class FileSource(ApiModel):
    """Weights that are already in the engine's image."""

    path: AbsolutePath = Field(description="Absolute path in the engine's container")


class Source(ApiModel):
    """Where the weights come from: exactly one of the fields."""

    hf: HuggingFaceSource | None = Field(default=None, description="Hugging Face repository")
    s3: S3Source | None = Field(default=None, description="Folder of an S3 bucket")
    oci: OciSource | None = Field(default=None, description="Artifact in an OCI registry")
    pvc: PvcSource | None = Field(default=None, description="PersistentVolumeClaim")
    file: FileSource | None = Field(default=None, description="File or folder in the engine's image")
    jurisdiction: Jurisdiction = Field(
        default="", description="Legal area that the weights must not leave, such as `EU`; none if left out"
    )

    @rule(
        "[has(self.hf), has(self.s3), has(self.oci), has(self.pvc), has(self.file)].filter(given, given).size() == 1",
        field="",
        message="must have exactly one of `hf`, `s3`, `oci`, `pvc` and `file`",
    )
    def _weights_come_from_one_place(self) -> bool:
        return [self.hf, self.s3, self.oci, self.pvc, self.file].count(None) == 4

    @property
    def download(self) -> HuggingFaceSource | S3Source | OciSource | None:
        """What a loader has to bring, or None for weights that are there already."""
        return self.hf or self.s3 or self.oci
