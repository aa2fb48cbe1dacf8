#!/bin/busybox sh
# shellcheck shell=dash
# Stage 1: stack layers/*.squashfs under a tmpfs and start init there.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do
    insmod "$module"
done

# Say it as the agent would, on every console, and do what lvpack.onerror asks for.
stop() {
    read -r consoles < /sys/class/tty/console/active
    read -r words < /proc/cmdline
    for name in $consoles; do
        {
            printf 'failed: cannot start: %s\r\n' "$1"
            printf 'LVPACK-RESULT: {"status": "failed", "action": "", "message": "cannot start: %s", ' "$1"
            printf '"hint": "the image is damaged, or this machine has too little memory for it"}\r\n'
        } > "/dev/$name"
    done
    for word in $words; do
        case "$word" in
            lvpack.onerror=poweroff | lvpack.onerror=reboot | lvpack.onerror=halt) "${word#*=}" -f ;;
        esac
    done
    exec sh < /dev/console > /dev/console 2>&1
}

# What `lvpack build --secret` packs is an archive beside this one: it goes into memory that only root reads.
take_secrets() {
    [ -d /secrets ] || return 0
    mkdir -m 0700 /new/lvpack-secrets
    cp /secrets/* /new/lvpack-secrets/
    for secret in /secrets/*; do
        # Memory of files keeps what was in it when they are removed. None has more than 64 KiB.
        dd if=/dev/zero of="$secret" bs=65536 count=1 conv=notrunc 2> /dev/null
    done
    rm -r /secrets
}

lowers=
number=0
for layer in /layers/*.squashfs; do
    mkdir -p "/lower/$number"
    # The loop device keeps its file open; switch_root may remove the name.
    [ -b "/dev/loop$number" ] || mknod "/dev/loop$number" b 7 "$number"
    losetup -r "/dev/loop$number" "$layer"
    mount -t squashfs -o ro "/dev/loop$number" "/lower/$number" || stop "layer $layer does not mount"
    lowers="/lower/$number${lowers:+:$lowers}"
    number=$((number + 1))
done
mount -t tmpfs -o mode=0755 tmpfs /cow
mkdir /cow/upper /cow/work
mount -t overlay -o "lowerdir=$lowers,upperdir=/cow/upper,workdir=/cow/work" overlay /new || stop "overlayfs does not mount"
take_secrets
umount /proc /sys
mount --move /dev /new/dev
exec switch_root /new /usr/lib/lvpack/init
