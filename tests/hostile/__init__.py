"""Hand-made hostile inputs with the answer each must get, and mutators of whole files."""
