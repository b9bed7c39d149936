"""For a room full of learners: questions, checks, and failures made on purpose."""
