"""Around the cloning: what is made ahead, what is sent to the server and not waited for, what is kept how long."""
