"""`python -m pyro_ssl`, the same as the command `pyro-ssl`."""

from pyro_ssl.command.main import main

if __name__ == "__main__":
    raise SystemExit(main())
