"""What every suite is made of: a gate's run, its page, frames of flags, bounds and custom expectations."""
