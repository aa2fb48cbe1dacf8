"""What the live image is made of: the drivers that servers need are in it, and all of it is small."""

import pytest

from lvpack_agent.processes import run
from lvpack_agent.sizes import MIB
from lvpack_builder.image import modules
from lvpack_builder.image.base import base
from lvpack_builder.image.build import LiveImage

pytestmark = pytest.mark.timeout(900)

# By the kernel's names; what stands in the kernel itself counts.
DRIVERS = """
    ahci ata_piix ata_generic sata_nv nvme mtip32xx
    3w_9xxx 3w_sas 3w_xxxx aacraid arcmsr hpsa hptiop ips megaraid_mbox megaraid_sas smartpqi
    mpt3sas mpi3mr mptsas mptspi mvsas pm80xx isci aic79xx sd_mod sr_mod sg ses st
    lpfc qla2xxx bfa fnic bnx2fc qedf fcoe qla4xxx be2iscsi iscsi_tcp
    virtio_blk virtio_scsi xen_blkfront xen_scsifront vmw_pvscsi hv_storvsc BusLogic sym53c8xx
    virtio_pci virtio_balloon virtio_console hv_vmbus hv_utils pci_hyperv
    tg3 bnx2 bnx2x bnxt_en cnic e100 e1000 e1000e igb igc igbvf ixgbe ixgbevf i40e iavf ice idpf mlx4_core mlx4_en
    mlx5_core qede qlcnic netxen_nic be2net bna cxgb4 enic sfc r8169 8139too pcnet32 forcedeth sky2 atlantic ionic ena
    tulip virtio_net xen_netfront vmxnet3 hv_netvsc gve mana
    bonding 8021q team team_mode_activebackup ipv6 af_packet sunrpc
    xhci_hcd xhci_pci ehci_hcd ehci_pci uhci_hcd ohci_hcd ohci_pci usb_storage uas usbhid hid_generic
    cdc_ether cdc_ncm rndis_host ax88179_178a r8152 asix smsc95xx
    i8042 atkbd psmouse hid hid_hyperv hyperv_keyboard evdev
    mmc_block sdhci sdhci_pci sdhci_acpi nd_pmem nfit zram loop brd
    md_mod raid0 raid1 raid10 raid456 dm_mod dm_bufio dm_cache dm_cache_smq dm_crypt dm_delay dm_era
    dm_flakey dm_integrity dm_log dm_log_userspace dm_log_writes dm_mirror dm_multipath dm_queue_length dm_raid
    dm_round_robin dm_service_time dm_snapshot dm_switch dm_thin_pool dm_unstripe dm_vdo dm_verity dm_writecache
    dm_zero dm_zoned bcache
    ext4 xfs btrfs vfat nls_cp437 nls_ascii nls_iso8859_1 nls_utf8 ntfs3 isofs udf squashfs overlay nfs nfsv3 nfsv4
    cifs f2fs 9p 9pnet_virtio fuse quota_v2
    8250 8250_pci ipmi_si ipmi_devintf ipmi_msghandler efivarfs efi_pstore
    crc32c_generic crc32c_intel xxhash_generic blake2b_generic sha256_generic aesni_intel ccm gcm cmac md4 xts
"""
LIBRARY = "argparse ctypes dataclasses email hashlib http.client json lzma secrets socket ssl subprocess threading zlib"
COMPILED = """
import importlib.util, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    cached = importlib.util.find_spec(name).cached
    assert cached is None or os.path.exists(cached), name
"""


def test_the_drivers_of_servers_are_there(image: LiveImage) -> None:
    built = base()
    folder = built.tree / "usr/lib/modules" / built.version
    depends = modules.dependencies((folder / "modules.dep").read_text())
    there = {modules.name_of(path) for path in depends} | modules.built_in((folder / "modules.builtin").read_text())
    assert sorted(set(DRIVERS.split()) - there) == []
    for path, needs in depends.items():
        for file in (path, *needs):
            assert (folder / file).is_file(), f"{path} needs {file}"
            # The kernel takes nothing else under Secure Boot (Documentation/admin-guide/module-signing.rst).
        assert (folder / path).read_bytes().endswith(b"~Module signature appended~\n"), path


def test_the_library_of_the_agent_is_there_and_compiled(image: LiveImage) -> None:
    run(["chroot", base().tree, "python3", "-B", "-c", COMPILED, *LIBRARY.split()])


def test_a_shell_finds_what_a_person_types(image: LiveImage) -> None:
    words = ["poweroff", "reboot", "vi", "less", "ip", "lsblk", "lvm", "e2fsck", "resize2fs", "mount", "dmesg", "ping"]
    login = "unset PATH; exec /bin/sh -l -c 'command -v " + " && command -v ".join(words) + "'"
    assert len(run(["chroot", base().tree, "/bin/sh", "-c", login]).stdout.splitlines()) == len(words)


def test_it_is_small(image: LiveImage) -> None:
    assert image.initrd.stat().st_size <= 52 * MIB
    assert image.iso.stat().st_size <= 72 * MIB
