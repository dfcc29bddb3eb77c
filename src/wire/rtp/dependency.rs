//! The dependency descriptor, a header extension that says which frames depend on which (AV1 RTP
//! payload format 1.0, appendix A).
//!
//! Most descriptors name a template; the templates come with the first packet of a key frame. A
//! [`DependencyReader`] keeps those of one source.
//!
//! Invariant: a descriptor is read to its end or not at all; what cannot be read changes nothing.

/// Frames that a frame may depend on. Codecs have fewer: AV1 refers to seven at most.
const REFERENCES_MAX: usize = 8;

/// Spatial and temporal layers that there may be.
const SPATIAL_MAX: u8 = 4;
const TEMPORAL_MAX: u8 = 8;

const TEMPLATES_MAX: usize = 64;
const TARGETS_MAX: usize = 32;

/// What a descriptor says of a packet and its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependencies {
    /// The frame begins with this packet.
    pub begins: bool,
    /// The frame ends with this packet.
    pub ends: bool,
    /// The spatial layer, 0 is the lowest.
    pub spatial: u8,
    /// The temporal layer, 0 is the lowest.
    pub temporal: u8,
    /// Which frame it is and what it needs.
    pub frame: FrameNeeds,
}

/// Which frame it is, and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameNeeds {
    /// The number of the frame.
    pub number: u16,
    references: [u16; REFERENCES_MAX],
    references_count: u8,
    /// The targets that can be decoded from here on, if this frame can.
    pub switches: Targets,
    /// The targets that the sender sends.
    pub active: Targets,
}

/// A set of decode targets, each named by its highest spatial and temporal layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Targets(u32);

/// Reads the descriptors of one source.
#[derive(Clone, Debug, Default)]
pub struct DependencyReader {
    structure: Option<Box<Structure>>,
    /// Bit by bit; those of the structure until another mask comes.
    active: u32,
    /// The packet that either of them came with last.
    at: u64,
}

/// The templates that descriptors refer to.
#[derive(Clone, Debug, Default)]
struct Structure {
    offset: u8,
    /// The highest layers of each decode target.
    targets: Vec<(u8, u8)>,
    chains_count: usize,
    templates: Vec<Template>,
}

#[derive(Clone, Debug, Default)]
struct Template {
    spatial: u8,
    temporal: u8,
    indications: Vec<Indication>,
    references: References,
}

#[derive(Clone, Copy, Debug, Default)]
struct References {
    distances: [u16; REFERENCES_MAX],
    count: u8,
}

/// What a frame is to a decode target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Indication {
    Absent,
    Discardable,
    Switch,
    Required,
}

/// Puts another number into a descriptor. All else in it is relative to that.
pub fn renumber(descriptor: &mut [u8], number: u16) {
    if let Some(place) = descriptor.get_mut(1..3) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

impl Targets {
    /// Adds the target with these highest layers.
    pub fn insert(&mut self, spatial: u8, temporal: u8) {
        if spatial < SPATIAL_MAX && temporal < TEMPORAL_MAX {
            self.0 |= 1 << (spatial * TEMPORAL_MAX + temporal);
        }
    }

    /// The targets in both sets.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The targets, the lowest first: spatial and temporal layer.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = (u8, u8)> {
        let all = 0..SPATIAL_MAX * TEMPORAL_MAX;
        let there = all.filter(move |index| self.0 >> index & 1 == 1);
        there.map(|index| (index / TEMPORAL_MAX, index % TEMPORAL_MAX))
    }
}

impl FrameNeeds {
    /// The numbers of the frames that this one depends on.
    pub fn references(&self) -> impl Iterator<Item = u16> {
        let count = usize::from(self.references_count);
        let distances = self.references.iter().take(count);
        distances.map(|distance| self.number.wrapping_sub(*distance))
    }

    /// Whether it depends on no other frame.
    pub const fn is_independent(&self) -> bool {
        self.references_count == 0
    }
}

impl DependencyReader {
    /// Reads the descriptor of the packet with this sequence number, which is extended beyond 16
    /// bits; `None` if it is malformed, or if its templates are not known.
    pub fn read(&mut self, sequence: u64, bytes: &[u8]) -> Option<Dependencies> {
        let mut bits = Bits { bytes, at: 0 };
        let begins = bits.flag()?;
        let ends = bits.flag()?;
        let id = bits.take(6)? as u8;
        let number = bits.take(16)? as u16;
        let mut custom = [false; 3];
        let mut fresh = None;
        let mut mask = None;
        if bytes.len() > 3 {
            let (has_structure, has_mask) = (bits.flag()?, bits.flag()?);
            for flag in &mut custom {
                *flag = bits.flag()?;
            }
            if has_structure {
                let structure = Structure::read(&mut bits)?;
                mask = Some(u32::MAX >> (TARGETS_MAX - structure.targets.len()));
                fresh = Some(Box::new(structure));
            }
            if has_mask {
                let structure = fresh.as_ref().or(self.structure.as_ref())?;
                mask = Some(bits.take(structure.targets.len())?);
            }
        }
        let structure = fresh.as_ref().or(self.structure.as_ref())?;
        let active = mask.unwrap_or(self.active);
        let dependencies = structure.frame(&mut bits, id, number, custom, active)?;
        // What comes late may not replace what came after it.
        if mask.is_some() && (self.structure.is_none() || sequence >= self.at) {
            self.structure = fresh.or(self.structure.take());
            self.active = active;
            self.at = sequence;
        }
        Some(Dependencies {
            begins,
            ends,
            ..dependencies
        })
    }
}

impl Structure {
    fn read(bits: &mut Bits<'_>) -> Option<Self> {
        let offset = bits.take(6)? as u8;
        let targets_count = bits.take(5)? as usize + 1;
        let mut templates = Vec::new();
        let (mut spatial, mut temporal) = (0, 0);
        loop {
            if templates.len() == TEMPLATES_MAX
                || spatial == SPATIAL_MAX
                || temporal == TEMPORAL_MAX
            {
                return None;
            }
            templates.push(Template {
                spatial,
                temporal,
                ..Template::default()
            });
            match bits.take(2)? {
                0 => {}
                1 => temporal += 1,
                2 => {
                    temporal = 0;
                    spatial += 1;
                }
                _ => break,
            }
        }
        for template in &mut templates {
            template.indications = bits.indications(targets_count)?;
        }
        for template in &mut templates {
            while bits.flag()? {
                let distance = bits.take(4)? as u16 + 1;
                template.references.push(distance)?;
            }
        }
        let chains_count = bits.below(targets_count as u32 + 1)? as usize;
        if chains_count > 0 {
            for _ in 0..targets_count {
                bits.below(chains_count as u32)?;
            }
            for _ in 0..templates.len() * chains_count {
                bits.take(4)?;
            }
        }
        if bits.flag()? {
            // The resolution of each spatial layer.
            for _ in 0..=spatial {
                bits.take(32)?;
            }
        }
        let targets = (0..targets_count).map(|target| {
            let is_in = |template: &&Template| template.indications[target] != Indication::Absent;
            let of_target = || templates.iter().filter(is_in);
            let spatial = of_target().map(|template| template.spatial).max();
            let temporal = of_target().map(|template| template.temporal).max();
            (spatial.unwrap_or(0), temporal.unwrap_or(0))
        });
        Some(Self {
            offset,
            targets: targets.collect(),
            chains_count,
            templates,
        })
    }

    /// Reads what follows the templates: what is different in this frame.
    fn frame(
        &self,
        bits: &mut Bits<'_>,
        id: u8,
        number: u16,
        [has_indications, has_references, has_chains]: [bool; 3],
        active: u32,
    ) -> Option<Dependencies> {
        let index = id.wrapping_sub(self.offset) % TEMPLATES_MAX as u8;
        let template = self.templates.get(usize::from(index))?;
        let own_indications;
        let indications = if has_indications {
            own_indications = bits.indications(self.targets.len())?;
            &own_indications
        } else {
            &template.indications
        };
        let mut references = template.references;
        if has_references {
            references = References::default();
            loop {
                let size = bits.take(2)? as usize;
                if size == 0 {
                    break;
                }
                references.push(bits.take(4 * size)? as u16 + 1)?;
            }
        }
        if has_chains {
            for _ in 0..self.chains_count {
                bits.take(8)?;
            }
        }
        let mut needs = FrameNeeds {
            number,
            references: references.distances,
            references_count: references.count,
            switches: Targets::default(),
            active: Targets::default(),
        };
        for (target, (spatial, temporal)) in self.targets.iter().enumerate() {
            if indications[target] == Indication::Switch {
                needs.switches.insert(*spatial, *temporal);
            }
            if active >> target & 1 == 1 {
                needs.active.insert(*spatial, *temporal);
            }
        }
        Some(Dependencies {
            begins: false,
            ends: false,
            spatial: template.spatial,
            temporal: template.temporal,
            frame: needs,
        })
    }
}

impl References {
    fn push(&mut self, distance: u16) -> Option<()> {
        *self.distances.get_mut(usize::from(self.count))? = distance;
        self.count += 1;
        Some(())
    }
}

/// Bits in the order of the network.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// Takes an unsigned number of up to 32 bits.
    fn take(&mut self, count: usize) -> Option<u32> {
        let end = self.at + count;
        if end > 8 * self.bytes.len() {
            return None;
        }
        let bit = |at: usize| u32::from(self.bytes[at / 8] >> (7 - at % 8) & 1);
        let number = (self.at..end).fold(0, |number, at| number << 1 | bit(at));
        self.at = end;
        Some(number)
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.take(1)? == 1)
    }

    /// Takes a number below `limit`, in as few bits as that needs: `ns(n)` of the specification.
    fn below(&mut self, limit: u32) -> Option<u32> {
        let width = limit.ilog2() as usize + 1;
        let short = (1 << width) - limit;
        let number = self.take(width - 1)?;
        if number < short {
            return Some(number);
        }
        Some((number << 1) - short + self.take(1)?)
    }

    fn indications(&mut self, count: usize) -> Option<Vec<Indication>> {
        let one = |_| {
            Some(match self.take(2)? {
                0 => Indication::Absent,
                1 => Indication::Discardable,
                2 => Indication::Switch,
                _ => Indication::Required,
            })
        };
        (0..count).map(one).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes bits in the order of the network.
    #[derive(Default)]
    struct Writer {
        bits: Vec<bool>,
    }

    impl Writer {
        fn put(&mut self, count: usize, number: u32) -> &mut Self {
            let bits = (0..count).rev().map(|at| number >> at & 1 == 1);
            self.bits.extend(bits);
            self
        }

        fn bytes(&self) -> Vec<u8> {
            let byte = |bits: &[bool]| {
                let set = bits.iter().enumerate().filter(|(_, bit)| **bit);
                set.fold(0, |byte, (at, _)| byte | 0x80 >> at)
            };
            self.bits.chunks(8).map(byte).collect()
        }

        /// Start, end, template and number of a frame.
        fn frame(&mut self, template: u32, number: u32) -> &mut Self {
            self.put(2, 0b11).put(6, template).put(16, number)
        }

        /// Which of the five extended parts follow.
        fn flags(&mut self, flags: u32) -> &mut Self {
            self.put(5, flags)
        }

        /// The structure of two spatial layers with two temporal layers each: the key frame of
        /// layer 0 is template 4, and the numbers go around at 64.
        fn structure(&mut self) -> &mut Self {
            self.put(6, 4).put(5, 3);
            // Layers: S0T0, S0T0, S0T1, S1T0, S1T0, S1T1.
            for next in [0, 1, 2, 0, 1, 3] {
                self.put(2, next);
            }
            // Targets: S0T0, S0T1, S1T0, S1T1.
            for indications in [
                [SWITCH, SWITCH, SWITCH, SWITCH],
                [SWITCH, SWITCH, REQUIRED, REQUIRED],
                [ABSENT, DISCARDABLE, ABSENT, REQUIRED],
                [ABSENT, ABSENT, SWITCH, SWITCH],
                [ABSENT, ABSENT, SWITCH, SWITCH],
                [ABSENT, ABSENT, ABSENT, DISCARDABLE],
            ] {
                for each in indications {
                    self.put(2, each);
                }
            }
            for distances in [&[][..], &[4], &[2], &[1], &[4, 1], &[2, 1]] {
                for distance in distances {
                    self.put(1, 1).put(4, distance - 1);
                }
                self.put(1, 0);
            }
            // Two chains of up to four: ns(5). Targets are protected by 0, 0, 1, 1: ns(2).
            self.put(2, 2);
            for chain in [0, 0, 1, 1] {
                self.put(1, chain);
            }
            for distances in [[0, 0], [4, 3], [2, 1], [1, 1], [1, 1], [3, 2]] {
                for each in distances {
                    self.put(4, each);
                }
            }
            // Resolutions.
            self.put(1, 1);
            for (width, height) in [(640, 360), (1280, 720)] {
                self.put(16, width - 1).put(16, height - 1);
            }
            self
        }
    }

    const ABSENT: u32 = 0;
    const DISCARDABLE: u32 = 1;
    const SWITCH: u32 = 2;
    const REQUIRED: u32 = 3;

    const HAS_STRUCTURE: u32 = 0b1_0000;
    const HAS_MASK: u32 = 0b0_1000;

    /// The first packet of a key frame of two layers in space and two in time.
    pub(crate) fn key(number: u16) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.frame(4, number.into()).flags(HAS_STRUCTURE);
        writer.structure().bytes()
    }

    /// A packet that is a frame: the `template`-th of [`key`], the key frame is 0.
    pub(crate) fn delta(template: u8, number: u16) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.frame(4 + u32::from(template), number.into()).bytes()
    }

    fn reader() -> DependencyReader {
        let mut reader = DependencyReader::default();
        reader.read(10, &key(100)).expect("it is a descriptor");
        reader
    }

    fn targets(targets: Targets) -> Vec<(u8, u8)> {
        targets.iter().collect()
    }

    #[test]
    fn the_structure_and_the_key_frame_are_read() {
        let mut reader = DependencyReader::default();
        let found = reader.read(10, &key(100)).unwrap();
        assert_eq!((found.begins, found.ends), (true, true));
        assert_eq!((found.spatial, found.temporal), (0, 0));
        assert_eq!(found.frame.number, 100);
        assert!(found.frame.is_independent());
        let all = [(0, 0), (0, 1), (1, 0), (1, 1)];
        assert_eq!(targets(found.frame.switches), all);
        assert_eq!(targets(found.frame.active), all);
    }

    #[test]
    fn templates_say_the_layers_the_references_and_the_switch_points() {
        let mut reader = reader();
        let mut read = |template, number| {
            let found = reader.read(11, &delta(template, number)).unwrap();
            let references: Vec<u16> = found.frame.references().collect();
            let switches = targets(found.frame.switches);
            ((found.spatial, found.temporal), references, switches)
        };
        assert_eq!(read(1, 104), ((0, 0), vec![100], vec![(0, 0), (0, 1)]));
        assert_eq!(read(2, 106), ((0, 1), vec![104], vec![]));
        assert_eq!(read(3, 101), ((1, 0), vec![100], vec![(1, 0), (1, 1)]));
        assert_eq!(read(4, 3), ((1, 0), vec![65_535, 2], vec![(1, 0), (1, 1)]));
        assert_eq!(read(5, 107), ((1, 1), vec![105, 106], vec![]));
    }

    /// What Chromium sent of VP9 with `L3T3` while it had no bandwidth for more than one layer.
    const CHROMIUM: [&str; 8] = [
        "c10001c0081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040001d954926\
         e082b04a0941b820ac1282503157f974000ca864330e222222eca8655304224230eca87753013f00b3027f016704\
         ff02cf0380",
        "c300021a00080000",
        "c200031a20100000",
        "c300041200",
        "c000051a60200000",
        "c300061a00080000",
        "c200071a20100000",
        "c300081200",
    ];

    #[test]
    fn what_a_browser_sends_is_read() {
        let mut reader = DependencyReader::default();
        let mut found = Vec::new();
        for (sequence, text) in CHROMIUM.iter().enumerate() {
            let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            let bytes: Vec<u8> = (0..text.len()).step_by(2).map(byte).collect();
            let read = reader.read(sequence as u64, &bytes).unwrap();
            let references: Vec<u16> = read.frame.references().collect();
            assert_eq!(read.spatial, 0);
            assert!(read.begins && read.ends);
            assert_eq!(targets(read.frame.active), [(0, 0), (0, 1), (0, 2)]);
            found.push((read.frame.number, read.temporal, references));
        }
        let expected = [
            (1, 0, vec![]),
            (2, 2, vec![1]),
            (3, 1, vec![1]),
            (4, 2, vec![3]),
            (5, 0, vec![1]),
            (6, 2, vec![5]),
            (7, 1, vec![5]),
            (8, 2, vec![7]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_frame_may_say_what_is_different() {
        let mut reader = reader();
        let mut writer = Writer::default();
        // Template 2, all three kinds: indications, references of 4, 8 and 12 bits, chains.
        writer.frame(4 + 2, 200).flags(0b111);
        for indication in [ABSENT, SWITCH, ABSENT, ABSENT] {
            writer.put(2, indication);
        }
        writer
            .put(2, 1)
            .put(4, 1)
            .put(2, 2)
            .put(8, 149)
            .put(2, 3)
            .put(12, 299)
            .put(2, 0);
        writer.put(8, 7).put(8, 9);
        let found = reader.read(11, &writer.bytes()).unwrap();
        assert_eq!(targets(found.frame.switches), [(0, 1)]);
        let references: Vec<u16> = found.frame.references().collect();
        assert_eq!(references, [198, 50, 65_436]);
    }

    #[test]
    fn active_targets_hold_until_they_are_told_anew() {
        let mut reader = reader();
        let mut writer = Writer::default();
        writer.frame(5, 104).flags(HAS_MASK).put(4, 0b0011);
        let lower = [(0, 0), (0, 1)];
        let found = reader.read(14, &writer.bytes()).unwrap();
        assert_eq!(targets(found.frame.active), lower);
        let found = reader.read(15, &delta(2, 106)).unwrap();
        assert_eq!(targets(found.frame.active), lower);
        // A late key frame says what was before.
        reader.read(13, &key(103)).unwrap();
        let found = reader.read(16, &delta(2, 108)).unwrap();
        assert_eq!(targets(found.frame.active), lower);
        reader.read(17, &key(109)).unwrap();
        let found = reader.read(18, &delta(2, 111)).unwrap();
        assert_eq!(targets(found.frame.active).len(), 4);
    }

    #[test]
    fn nothing_is_read_before_the_templates_are_known() {
        let mut reader = DependencyReader::default();
        assert_eq!(reader.read(1, &delta(1, 104)), None);
        let mut mask = Writer::default();
        mask.frame(5, 104).flags(HAS_MASK).put(4, 1);
        assert_eq!(reader.read(1, &mask.bytes()), None);
        reader.read(2, &key(100)).unwrap();
        assert_eq!(reader.read(3, &delta(6, 104)), None, "no such template");
        assert_eq!(
            reader.read(3, &delta(63, 104)),
            None,
            "before the first one"
        );
    }

    #[test]
    fn another_number_takes_the_place_of_that_which_is_there() {
        for descriptor in [key(100), delta(1, 100)] {
            let mut other = descriptor.clone();
            renumber(&mut other, 65_000);
            let found = reader().read(11, &other).unwrap();
            assert_eq!(found.frame.number, 65_000);
            renumber(&mut other, 100);
            assert_eq!(other, descriptor);
        }
        renumber(&mut [1, 2], 7);
    }

    #[test]
    fn what_is_cut_short_is_refused_and_changes_nothing() {
        let whole = key(200);
        let mut reader = reader();
        for size in 0..whole.len() {
            if size != 3 {
                assert_eq!(reader.read(11, &whole[..size]), None, "{size}");
            }
        }
        let found = reader.read(12, &delta(1, 104)).unwrap();
        assert_eq!(targets(found.frame.active).len(), 4);
    }

    #[test]
    fn a_frame_with_too_many_references_is_refused() {
        let mut reader = reader();
        for (count, fits) in [(REFERENCES_MAX, true), (REFERENCES_MAX + 1, false)] {
            let mut writer = Writer::default();
            writer.frame(5, 200).flags(0b010);
            for _ in 0..count {
                writer.put(2, 1).put(4, 0);
            }
            writer.put(2, 0);
            assert_eq!(reader.read(11, &writer.bytes()).is_some(), fits);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..8),
        ) {
            let mut reader = DependencyReader::default();
            for (sequence, bytes) in all.iter().enumerate() {
                reader.read(sequence as u64, bytes);
            }
        }

        /// Real descriptors with some of their bits turned over, to get beyond the first fields.
        #[test]
        fn damaged_descriptors_are_read_without_panic(
            steps in prop::collection::vec((0..8_u8, prop::collection::vec(any::<prop::sample::Index>(), 0..6)), 1..40),
        ) {
            let mut reader = DependencyReader::default();
            for (sequence, (template, flips)) in steps.into_iter().enumerate() {
                let number = sequence as u16;
                let mut bytes = if template == 0 { key(number) } else { delta(template, number) };
                for flip in flips {
                    let at = flip.index(8 * bytes.len());
                    bytes[at / 8] ^= 0x80 >> (at % 8);
                }
                if let Some(found) = reader.read(sequence as u64, &bytes) {
                    prop_assert!(found.spatial < SPATIAL_MAX && found.temporal < TEMPORAL_MAX);
                    prop_assert!(found.frame.references().count() <= REFERENCES_MAX);
                }
            }
        }
    }
}
