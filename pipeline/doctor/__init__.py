"""``facepipe doctor``: what is installed, what works, and the commands that mend the rest."""
