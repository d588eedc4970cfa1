"""The only room that touches a machine: scripts, HTTP and Docker, here or over SSH."""
