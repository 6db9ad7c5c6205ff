"""Every failure a user can cause or meet, as one tree. Each message is a sentence for people.

    ResNetLabError
    ├── ImageError        a picture that cannot or will not be read
    ├── ArchiveError      a zip that cannot or will not be opened
    ├── DatasetError      a data set that cannot be found or trained on
    ├── ModelError        an unknown network, layer or impossible shape
    ├── CheckpointError   a file of weights that cannot be trusted or does not fit
    ├── ConfigError       a setting outside its range
    ├── RunError          an unknown, busy or damaged run
    │   └── DataChangedError   its pictures are others now; it may go on if a person says so
    └── DeviceError       a device or library this machine does not offer

Messages name the thing, the reason and what to do; they never hold a server path the user did not type.
"""


class ResNetLabError(Exception):
    """Base of all failures whose message may be shown to a person as it is."""


class ImageError(ResNetLabError):
    """A picture cannot be read: not an image, broken, too large, too elongated or an unsupported format."""


class ArchiveError(ResNetLabError):
    """A zip cannot be used: not a zip, encrypted, unsafe entries or over a limit."""


class DatasetError(ResNetLabError):
    """A data set is missing, has no classes, or cannot be trained on."""


class ModelError(ResNetLabError):
    """A network or layer name is unknown, or the shapes do not fit together."""


class CheckpointError(ResNetLabError):
    """A file of weights is unreadable, damaged, unsafe or made for another network."""


class ConfigError(ResNetLabError):
    """A setting is outside its range."""


class RunError(ResNetLabError):
    """A run is unknown, busy, damaged or cannot do what was asked."""


class DataChangedError(RunError):
    """The pictures of a run have changed since it was saved; it can go on with them if a person says so."""


class DeviceError(ResNetLabError):
    """The machine or its libraries cannot do what was asked."""
