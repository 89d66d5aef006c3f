"""What each part costs on this machine: the parts made ready (cases), counted (flops), timed (timing)."""
