"""Settings as values: what the kernel command line asks for."""

from dataclasses import dataclass

from lvpack_agent.sizes import human


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How the image is compressed: method is zstd, gzip or none.

    Level 0 means, for zstd, the levels that keep pace with disk and share; for none it means nothing.
    """

    method: str
    level: int

    def __str__(self) -> str:
        return f"{self.method}:{self.level}" if self.level else {"zstd": "auto"}.get(self.method, self.method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """Free space to leave in a shrunk filesystem: percent of its minimum size, or bytes; one of them is 0."""

    percent: float = 0
    size: int = 0

    def of(self, minimum: int) -> int:
        """Return the margin in bytes for a filesystem whose minimum size is given in bytes."""
        return self.size or int(minimum * self.percent / 100)

    def __str__(self) -> str:
        return human(self.size) if self.size else f"{self.percent:g}%"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowRule:
    """A rule of lvpack.grow: what it names, and how large that LV becomes; text is the rule as it was given.

    how is SIZE, PLUS, SHARE, MAX, SOURCE, PACKED or RAM; size is in bytes for the first two, percent for SHARE.
    """

    text: str
    name: str
    how: str
    size: int = 0
    percent: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grow:
    """What a restore does with the space that a target has beyond the packed disk.

    policy is SOURCE, FILL or NONE, what is done with all LVs that no rule names; with rules it is SOURCE.
    """

    policy: str
    rules: tuple[GrowRule, ...] = ()

    def __str__(self) -> str:
        return ",".join(rule.text for rule in self.rules) or self.policy


SIZE, PLUS, SHARE, MAX, SOURCE, PACKED, RAM = "size", "plus", "share", "max", "source", "packed", "ram"
FILL, NONE = "fill", "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareOptions:
    """What lvpack.share says of the share; one field for each row of SHARE_OPTIONS. "" and False: it does not say."""

    user: str = ""
    domain: str = ""
    seal: bool = False
    endpoint: str = ""
    region: str = ""
    path_style: bool = False
    parts: str = ""
    proxy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the kernel command line asks for; one field for each row of OPTIONS."""

    action: str
    target: str
    source: str
    share: ShareOptions
    secrets: str
    name: str
    readers: str
    mode: str
    disk: tuple[str, ...]
    vg: str
    collapse: bool
    compress: Compression
    margin: Margin
    scratch: str
    dump: bool
    readback: bool
    errors: str
    regrow: bool
    grow: Grow
    efi: str
    overwrite: bool
    patience: int
    rate: int
    after: str
    onerror: str
    notify: tuple[str, ...]
    config: str

    @property
    def may_leave_half_done(self) -> bool:
        """Whether a run that is cut off, now or at an earlier boot, leaves a disk that must not be booted by itself."""
        return self.action == "restore" or (self.action == "backup" and self.mode == "inplace")
