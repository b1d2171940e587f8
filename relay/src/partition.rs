//! The 128 partitions that channels are hashed into where a Redis Cluster is the bus, and the cluster's own map of slots.
//!
//! Owns which partition a channel is in and which tag makes all keys of a partition one slot's. Never knows which node has a slot.

/// Partitions. Never changes: edges of different releases share a cluster.
pub const PARTITIONS: usize = 128;
/// Slots of a Redis Cluster.
pub const SLOTS: u16 = 16_384;

/// The hash tag of each partition. Their slots stand 128 apart, so however many primaries share the slots in equal ranges, each has
/// its share of partitions, one more or less.
pub const TAGS: [&str; PARTITIONS] = [
    "11423", "41742", "10527", "12258", "16159", "7806", "40331", "6902", "26878", "1696", "49436", "19757",
    "4493", "29498", "5597", "49141", "46382", "530", "15698", "12695", "16594", "11599", "17490", "9458",
    "3524", "4529", "2420", "41961", "68375", "3053", "13808", "2157", "13718", "7935", "40202", "6831",
    "11510", "41671", "10414", "17419", "18217", "48176", "19313", "49072", "15988", "12985", "39199",
    "13881", "174", "22469", "21212", "56683", "8118", "403", "26768", "1986", "68246", "3160", "5069",
    "2064", "3417", "1368", "42", "41852", "29389", "4382", "49650", "975", "1187", "48223", "19046", "8919",
    "2865", "5868", "3961", "40420", "41053", "11332", "12549", "10236", "3742", "68464", "2646", "69560",
    "4238", "3235", "44902", "2331", "11288", "756", "9349", "17381", "221", "39998", "12184", "15189",
    "18071", "23928", "19175", "39688", "42882", "18506", "43986", "846", "41160", "11201", "17308", "10305",
    "2956", "13009", "3852", "40513", "1479", "3306", "44831", "2202", "3671", "68557", "2775", "5778",
    "312", "8609", "21074", "26079", "22378", "665", "48844", "21503",
];

/// A channel's partition.
pub fn partition(channel: &str) -> usize {
    // FNV-1a, whose high bits are folded into the low ones, which alone would be weak.
    let hash = channel.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = hash ^ (hash >> 32);
    // The remainder is below 128.
    ((folded ^ (folded >> 15)) % PARTITIONS as u64) as usize
}

/// The slot of a partition: what Redis makes of its tag.
pub fn slot(partition: usize) -> u16 {
    crc16(TAGS[partition].as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, as the specification of Redis Cluster has it.
const fn crc16(bytes: &[u8]) -> u16 {
    let (mut crc, mut at) = (0_u16, 0);
    while at < bytes.len() {
        crc ^= (bytes[at] as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        at += 1;
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partitions of each of `primaries`, which share the slots as `redis-cli --cluster create` deals them.
    fn shares(primaries: usize) -> Vec<usize> {
        let mut shares = vec![0; primaries];
        for partition in 0..PARTITIONS {
            shares[usize::from(slot(partition)) * primaries / usize::from(SLOTS)] += 1;
        }
        shares
    }

    #[test]
    fn slots_are_those_that_redis_computes() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for partition in 0..PARTITIONS {
            assert_eq!(usize::from(slot(partition)), partition * 128 + 64);
        }
    }

    #[test]
    fn partitions_spread_evenly_over_any_number_of_primaries() {
        for primaries in 1..=64 {
            let shares = shares(primaries);
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            if primaries <= 12 {
                println!("{primaries} primaries: {least} to {most} partitions each, {shares:?}");
            }
            assert!(most - least <= 1, "{primaries} primaries: {shares:?}");
        }
    }

    #[test]
    fn channels_spread_evenly_over_partitions() {
        for names in
            [|i: u32| format!("chat:{i}"), |i: u32| format!("user#{}", i * 1000), |i: u32| format!("{i:08x}")]
        {
            let mut counts = [0u32; PARTITIONS];
            (0..128_000).for_each(|i| counts[partition(&names(i))] += 1);
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            println!("128,000 channels like {:?}: {least} to {most} a partition", names(7));
            assert!(*least > 850 && *most < 1150, "{least} to {most}");
        }
    }

    #[test]
    fn a_channel_stays_in_its_partition() {
        assert_eq!((partition("chat:lobby"), partition(""), partition("a")), (121, 96, 4));
    }
}
