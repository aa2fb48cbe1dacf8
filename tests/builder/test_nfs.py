from lvpack_builder.lab.nfs import last_words

# nfs-ganesha 6.5 of Debian 13, without CAP_SYS_RESOURCE; the backtrace is cut.
LOG = """\
27/11/2026 22:08:10 : epoch 6b : vm : nfs-ganesha-15[main] nfs_set_param_from_conf :NFS STARTUP :EVENT :Configuration
27/11/2026 22:08:10 : epoch 6b : vm : nfs-ganesha-15[main] main :MAIN :FATAL :Failed to PR_SET_IO_FLUSHER with EPERM.
27/11/2026 22:08:10 : epoch 6b : vm : nfs-ganesha-15[main] gsh_backtrace :NFS STARTUP :MAJ :stack backtrace follows:
/usr/lib/ganesha/libganesha_nfsd.so.6.5(+0x88256) [0x7fc642088256]
ganesha.nfsd(main+0xb0e) [0x55ea1fe46ede]
ganesha.nfsd(_start+0x21) [0x55ea1fe47211]
"""


def test_the_fatal_error_is_quoted_and_not_the_backtrace() -> None:
    assert last_words(LOG).endswith("Failed to PR_SET_IO_FLUSHER with EPERM.")
    assert "; " not in last_words(LOG)
    assert last_words("one\ntwo\nthree\nfour\n") == "two; three; four"
    assert last_words("") == "it said nothing"
