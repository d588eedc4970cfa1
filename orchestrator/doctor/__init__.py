"""What a host lacks before anything is deployed, and what runs on it afterwards: facts in, findings out. Pure."""
