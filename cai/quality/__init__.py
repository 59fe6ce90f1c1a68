"""Great Expectations gates: one suite per artifact, one gate that runs any of them."""
