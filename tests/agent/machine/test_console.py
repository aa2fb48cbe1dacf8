from lvpack_agent.machine.console import named


def test_consoles_of_a_command_line() -> None:
    line = "quiet console=tty0 console=ttyS0,115200n8 lvpack.console=no console=ttyS1 console=null"
    assert named(line) == {"tty0": "", "ttyS0": "115200", "ttyS1": ""}
