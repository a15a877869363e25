"""`python -m skipvae` is the same as `skipvae`."""

from skipvae.cli import main

if __name__ == "__main__":
    main()
