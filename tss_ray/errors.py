"""Every error that this package raises on purpose; each message ends with the remedy.

TssRayError
├── SpecError            a setting is wrong, or two settings contradict each other       exit code 2
├── InputError           the input holds nothing to do, or cannot be listed              exit code 2
├── StorageError         a folder, bucket or object cannot be reached, read or written   exit code 2
│   ├── ObjectNotFoundError    the object (or its bucket) does not exist
│   └── AccessRefusedError     the store refused the credentials
├── LeaseError           another run is writing the same output                          exit code 2
│   └── LeaseLostError   another run took the output over while this one was at work     exit code 1
├── ModelError           weights are missing, damaged, or not what their card says       exit code 2
├── ClusterError         a cluster cannot be reached, or knows no such job               exit code 2
│   └── PlacementError   what the job needs finds no place on any node any more          exit code 1
├── ImageError           one image is at fault: it becomes a row, never an exit
│   ├── DecodeError      its bytes are not an image that we can read
│   ├── EncodeError      its pixels do not fit the output format
│   └── GateError        what the model made of it is no picture of it
├── EngineError          the engine broke a promise of its own (a bug, please report)    exit code 1
└── TrainingError        a training run cannot start or go on                            exit code 2
"""


class TssRayError(Exception):
    """Base of all errors below; `exit_code` is what the command line ends with."""

    exit_code = 2


class SpecError(TssRayError):
    """A setting is wrong."""


class InputError(TssRayError):
    """The input holds nothing to do, or cannot be listed."""


class StorageError(TssRayError):
    """A folder, bucket or object cannot be reached, read or written."""


class ObjectNotFoundError(StorageError):
    """The object (or its bucket) does not exist."""


class AccessRefusedError(StorageError):
    """The store refused the credentials."""


class LeaseError(TssRayError):
    """Another run is writing the same output."""


class LeaseLostError(LeaseError):
    """Another run took the output over while this one was at work."""

    exit_code = 1


class ModelError(TssRayError):
    """Weights are missing, damaged, or not what their card says."""


class ClusterError(TssRayError):
    """A cluster cannot be reached, refuses the caller, or knows no such job."""


class PlacementError(ClusterError):
    """No node can hold an operator of a job that has begun."""

    exit_code = 1


class ImageError(TssRayError):
    """One image is at fault; `kind` is a short, stable word for the row's `error_kind`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class DecodeError(ImageError):
    """The bytes are not an image that we can read."""


class EncodeError(ImageError):
    """The pixels do not fit the output format."""


class GateError(ImageError):
    """What the model made is no picture of its input."""


class EngineError(TssRayError):
    """The engine broke a promise of its own."""

    exit_code = 1


class TrainingError(TssRayError):
    """A training run cannot start or go on."""


__all__ = [
    "AccessRefusedError",
    "ClusterError",
    "DecodeError",
    "EncodeError",
    "EngineError",
    "GateError",
    "ImageError",
    "InputError",
    "LeaseError",
    "LeaseLostError",
    "ModelError",
    "ObjectNotFoundError",
    "PlacementError",
    "SpecError",
    "StorageError",
    "TrainingError",
    "TssRayError",
]
