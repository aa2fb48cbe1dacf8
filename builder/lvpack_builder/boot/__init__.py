"""How the live image boots: the ISO, the netboot kit, menus and boot loaders."""
