/// GPT-2's reversible spelling of bytes as printable characters: printable Latin-1 stands for itself, the other 68 bytes
/// for U+0100 and up, in order.
enum ByteAlphabet {
    /// The character of each byte.
    static let scalars: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (0...255).map { (byte: UInt32) in
            switch byte {
            case 0x21...0x7e, 0xa1...0xac, 0xae...0xff: return Unicode.Scalar(byte)!
            default:
                defer { next += 1 }
                return Unicode.Scalar(next)!
            }
        }
    }()

    private static let bytes = Dictionary(uniqueKeysWithValues: zip(scalars, UInt8.min...UInt8.max))

    /// The characters that spell the UTF-8 of `text`.
    static func spelling(of text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var spelled: [Unicode.Scalar] = []
        spelled.reserveCapacity(text.count)
        for scalar in text {
            for byte in UTF8.encode(scalar)! { spelled.append(scalars[Int(byte)]) }  // every scalar has an encoding
        }
        return spelled
    }

    /// The bytes that `token` spells; text that is not in the alphabet stands for its UTF-8.
    static func bytes(of token: [Unicode.Scalar]) -> [UInt8] {
        var spelled: [UInt8] = []
        for scalar in token {
            guard let byte = bytes[scalar] else { return Array(String(String.UnicodeScalarView(token)).utf8) }
            spelled.append(byte)
        }
        return spelled
    }
}
