//! Words that every layer speaks: clocks, identifiers, limits, bounded containers, errors.
