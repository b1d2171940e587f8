//! The client protocol: commands, replies and pushes, independent of their encoding, and the encodings.
