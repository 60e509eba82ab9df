"""Many runs to an answer: which setting is better, by how much, and is that more than noise?"""
