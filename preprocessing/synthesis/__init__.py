"""Parts of the step ``synthesize``: one virtual person, what they say, how they move and how they are drawn."""
