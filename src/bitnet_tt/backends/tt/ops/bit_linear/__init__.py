"""One BitLinear with the norm before it and what follows it, in one program."""
