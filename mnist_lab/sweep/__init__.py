"""Many runs of one grid: planned whole, launched, recorded and resumed."""
