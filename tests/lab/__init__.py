"""Real machines for the end-to-end tests: containers that boot systemd, with sshd and a Docker Engine of their own."""
