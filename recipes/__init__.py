"""How the bundled model and classifier are made: see README.md."""
