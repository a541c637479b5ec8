/// What patterns ask of a character, looked up once.
struct ScalarTraits {
    let value: UInt32
    /// One bit per general category, in the order of `ScalarSet.categories`.
    let category: UInt32
    let isSpace: Bool

    init(_ scalar: Unicode.Scalar) {
        value = scalar.value
        category = ScalarSet.bit(of: Self.isKnown(scalar) ? scalar.properties.generalCategory : .unassigned)
        isSpace = scalar.properties.isWhitespace
    }

    /// Whether Oniguruma's tables, which are of Unicode 16, know the character; to them later ones are unassigned.
    private static func isKnown(_ scalar: Unicode.Scalar) -> Bool {
        // The ASCII range first: looking up the age costs as much as the rest.
        scalar.value < 0x80 || (scalar.properties.age?.major ?? 16) <= 16
    }
}

/// A set of characters, as a bracket expression or a class of a regular expression names it.
struct ScalarSet: Sendable {
    private var ranges: [ClosedRange<UInt32>] = []
    private var mask: UInt32 = 0
    private var hasSpaces = false
    private var hasNonSpaces = false
    private var isNegated = false

    func contains(_ scalar: ScalarTraits) -> Bool {
        let found =
            mask & scalar.category != 0 || (scalar.isSpace ? hasSpaces : hasNonSpaces)
            || ranges.contains { $0.contains(scalar.value) }
        return found != isNegated
    }

    mutating func insert(_ range: ClosedRange<UInt32>) { ranges.append(range) }
    mutating func insertSpaces() { hasSpaces = true }
    mutating func insertNonSpaces() { hasNonSpaces = true }
    mutating func insert(categories: UInt32) { mask |= categories }
    mutating func negate() { isNegated.toggle() }

    /// Adds the other case of the ASCII letters in the set.
    ///
    /// Simple case folding; the long s and the Kelvin sign are the only characters outside ASCII that fold into it.
    mutating func foldCase() {
        for range in ranges {
            for value in range where value < 0x80 {
                guard let scalar = Unicode.Scalar(value), scalar.properties.isAlphabetic else { continue }
                let other = value ^ 0x20
                ranges.append(other...other)
                if value | 0x20 == 0x73 { ranges.append(0x17f...0x17f) }
                if value | 0x20 == 0x6b { ranges.append(0x212a...0x212a) }
            }
        }
    }

    /// The two-letter names of the general categories.
    static let categories = [
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
        "Sm",
        "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn",
    ]
    static let everyCategory = UInt32(1) << UInt32(categories.count) - 1

    /// The bits of "L", "Nd" and the like; nil for anything else.
    static func categories(named name: String) -> UInt32? {
        var bits: UInt32 = 0
        for (index, category) in categories.enumerated()
        where name == category || (name.count == 1 && category.hasPrefix(name)) { bits |= 1 << UInt32(index) }
        return bits == 0 ? nil : bits
    }

    static func bit(of category: Unicode.GeneralCategory) -> UInt32 {
        let index: UInt32 =
            switch category {
            case .uppercaseLetter: 0
            case .lowercaseLetter: 1
            case .titlecaseLetter: 2
            case .modifierLetter: 3
            case .otherLetter: 4
            case .nonspacingMark: 5
            case .spacingMark: 6
            case .enclosingMark: 7
            case .decimalNumber: 8
            case .letterNumber: 9
            case .otherNumber: 10
            case .connectorPunctuation: 11
            case .dashPunctuation: 12
            case .openPunctuation: 13
            case .closePunctuation: 14
            case .initialPunctuation: 15
            case .finalPunctuation: 16
            case .otherPunctuation: 17
            case .mathSymbol: 18
            case .currencySymbol: 19
            case .modifierSymbol: 20
            case .otherSymbol: 21
            case .spaceSeparator: 22
            case .lineSeparator: 23
            case .paragraphSeparator: 24
            case .control: 25
            case .format: 26
            case .surrogate: 27
            case .privateUse: 28
            case .unassigned: 29
            @unknown default: 29
            }
        return 1 << index
    }
}
