# The live image has an initrd of its own; this keeps Debian's kernel hooks from making one.
export INITRD=No
export DIB_APT_MINIMAL_CREATE_INTERFACES=0
