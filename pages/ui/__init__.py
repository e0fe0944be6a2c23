"""What the screens share: frame, state, inputs, engine, texts, charts."""
