internal import Formats

/// The `pre_tokenizer` of a `tokenizer.json`: splits text into the pieces within which byte pairs are merged.
indirect enum PreTokenizer: Sendable {
    case byteLevel(addsPrefixSpace: Bool, split: SplitPattern?)
    case digits(areIndividual: Bool)
    case split(SplitPattern, SplitBehavior, isInverted: Bool)
    case metaspace(Metaspace)
    case sequence([PreTokenizer])

    struct Piece {
        var text: [Unicode.Scalar]
        /// Whether it is the first of the whole text, where Metaspace's scheme "first" puts its mark.
        var startsText: Bool
    }

    /// GPT-2's pattern, which ByteLevel applies unless it is told not to.
    static let gpt2Pattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    init(_ node: JSONNode) throws(FileError) {
        let type = try node.required("type").string()
        switch type {
        case "ByteLevel":
            var pattern: SplitPattern?
            if try node.flag("use_regex", default: true) {
                do throws(SplitPattern.Failure) {
                    pattern = try SplitPattern(Self.gpt2Pattern)
                } catch {
                    throw node.failure("GPT-2's pattern cannot be read: \(error.description)")
                }
            }
            self = .byteLevel(addsPrefixSpace: try node.flag("add_prefix_space", default: true), split: pattern)
        case "Digits": self = .digits(areIndividual: try node.flag("individual_digits"))
        case "Split":
            let behavior = try node.required("behavior").string()
            guard let rule = SplitBehavior(rawValue: behavior) else {
                throw node.failure(
                    "behavior is '\(behavior)', expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous"
                )
            }
            self = .split(
                try SplitPattern(node.required("pattern")), rule, isInverted: try node.flag("invert"))
        case "Metaspace": self = .metaspace(try Metaspace(node))
        case "Sequence":
            var steps: [PreTokenizer] = []
            for step in try node.required("pretokenizers").elements() { steps.append(try PreTokenizer(step)) }
            self = .sequence(steps)
        default:
            throw node.failure(
                "pre_tokenizer '\(type)' is not supported (ByteLevel, Digits, Split, Metaspace, Sequence)")
        }
    }

    func split(_ pieces: [Piece]) -> [Piece] {
        switch self {
        case .byteLevel(let addsPrefixSpace, let pattern):
            return pieces.flatMap { piece -> [Piece] in
                var piece = piece
                if addsPrefixSpace, piece.text.first != " " { piece.text.insert(" ", at: 0) }
                guard let pattern else { return [piece] }
                return Self.parts(
                    of: piece,
                    SplitBehavior.isolated.pieces(count: piece.text.count, matches: pattern.matches(in: piece.text)))
            }.map { Piece(text: ByteAlphabet.spelling(of: $0.text), startsText: $0.startsText) }
        case .digits(let areIndividual):
            let behavior = areIndividual ? SplitBehavior.isolated : .contiguous
            return pieces.flatMap { piece in
                let digits = piece.text.indices.filter { Self.isNumeric(piece.text[$0]) }.map { $0..<$0 + 1 }
                return Self.parts(of: piece, behavior.pieces(count: piece.text.count, matches: digits))
            }
        case .split(let pattern, let behavior, let isInverted):
            return pieces.flatMap { piece in
                let found = pattern.matches(in: piece.text)
                return Self.parts(
                    of: piece, behavior.pieces(count: piece.text.count, matches: found, isInverted: isInverted))
            }
        case .metaspace(let metaspace): return pieces.flatMap(metaspace.split)
        case .sequence(let steps): return steps.reduce(pieces) { $1.split($0) }
        }
    }

    static func parts(of piece: Piece, _ ranges: [Range<Int>]) -> [Piece] {
        ranges.map { Piece(text: Array(piece.text[$0]), startsText: piece.startsText && $0.lowerBound == 0) }
    }

    private static func isNumeric(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .decimalNumber, .letterNumber, .otherNumber: true
        default: false
        }
    }
}

/// SentencePiece's way with spaces: each becomes a mark ("▁") that belongs to the word behind it.
struct Metaspace: Sendable {
    enum PrependScheme: String, Sendable { case first, never, always }

    let replacement: Unicode.Scalar
    let scheme: PrependScheme
    private let splits: Bool

    init(_ node: JSONNode) throws(FileError) {
        replacement = try node.required("replacement").scalar()
        let name = try node.member("prepend_scheme")?.string() ?? "always"
        guard var scheme = PrependScheme(rawValue: name) else {
            throw node.failure("prepend_scheme is '\(name)', expected first, never or always")
        }
        if try node.member("add_prefix_space")?.bool() == false {
            guard scheme == .never || node.member("prepend_scheme") == nil else {
                throw node.failure("add_prefix_space is false, but prepend_scheme is '\(name)'; expected never")
            }
            scheme = .never
        }
        self.scheme = scheme
        splits = try node.flag("split", default: true)
    }

    func split(_ piece: PreTokenizer.Piece) -> [PreTokenizer.Piece] {
        var piece = piece
        piece.text = piece.text.map { $0 == " " ? replacement : $0 }
        let prepends = scheme == .always || (scheme == .first && piece.startsText)
        if prepends, piece.text.first != replacement { piece.text.insert(replacement, at: 0) }
        guard splits else { return [piece] }
        let marks = piece.text.indices.filter { piece.text[$0] == replacement }.map { $0..<$0 + 1 }
        return PreTokenizer.parts(
            of: piece, SplitBehavior.mergedWithNext.pieces(count: piece.text.count, matches: marks))
    }

    /// The text of a token; the mark of the first one was put there by `split`.
    func decode(_ token: [Unicode.Scalar], isFirst: Bool) -> [Unicode.Scalar] {
        if isFirst, scheme != .never { return token.filter { $0 != replacement } }
        return token.map { $0 == replacement ? " " : $0 }
    }
}
