//! Open enumerations: a newtype over the wire's integer with named constants, so that a value from the future
//! can be printed, stored and refused, and is never a panic.

/// Declares an open enumeration. Each constant carries the spelling that the specification uses.
///
/// Besides the constants it gives `name()`, the spec's word for a known value; `is_known()`; `KNOWN`, every
/// known value; and a `Debug` and `Display` that print the word, or the number where there is none.
macro_rules! open_enum {
    (
        $(#[$doc:meta])*
        pub struct $name:ident($inner:ty) as $wire:literal {
            $( $(#[$cdoc:meta])* $constant:ident = $value:literal $word:literal, )+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            $( $(#[$cdoc])* pub const $constant: $name = $name($value); )+

            /// Every value that this version names, in the registry's order.
            pub const KNOWN: &'static [$name] = &[$( $name::$constant ),+];

            /// The specification's word for this value, if this version has one.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $( $name::$constant => Some($word), )+
                    _ => None,
                }
            }

            /// Whether this version names the value.
            pub fn is_known(self) -> bool {
                self.name().is_some()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "0x{:0width$x}", self.0, width = size_of::<$inner>() * 2),
                }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl $crate::wire::Wire for $name {
            const NAME: &'static str = $wire;
            fn size(&self) -> usize {
                size_of::<$inner>()
            }
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn take(reader: &mut $crate::wire::Reader) -> Result<Self, $crate::wire::DecodeError> {
                <$inner as $crate::wire::Wire>::take(reader).map($name)
            }
        }
    };
}

pub(crate) use open_enum;

#[cfg(test)]
mod tests {
    use crate::{Kind, Wire};

    #[test]
    fn unknown_values_survive_and_print_as_hex() {
        let unknown = Kind(0x7fff);
        assert_eq!(format!("{unknown}"), "0x7fff");
        assert_eq!(format!("{:?}", Kind::MESSAGE), "message");
        let mut out = Vec::new();
        unknown.put(&mut out);
        assert_eq!(out, [0x7f, 0xff]);
    }
}
