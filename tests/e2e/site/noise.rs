//! Bytes that nothing on their way can compress.

/// `length` bytes, the same ones each time.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    noise_of(0, length)
}

/// `length` bytes, other ones for each `seed`: a linear congruential generator's.
pub(crate) fn noise_of(seed: u64, length: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D ^ seed;
    let mut noise = Vec::with_capacity(length + 8);
    while noise.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The low bits of such a generator repeat soon.
        noise.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    noise.truncate(length);
    noise
}
