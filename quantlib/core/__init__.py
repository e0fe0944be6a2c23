"""Numbers: options, statistics, parameters, quantizers, arrays, metrics."""
