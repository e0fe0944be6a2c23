"""An integer program as C99 for micro-controllers."""
