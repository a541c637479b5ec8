/// What a Parquet file's footer says of its columns and where they lie.
struct ParquetFooter {
    /// How values are stored.
    enum Physical: Int {
        case boolean, int32, int64, int96, float, double, bytes, fixedBytes
    }

    /// A column of values.
    struct Leaf {
        /// Of the schema's names, without those of lists: a camera's pictures are ["observation.image", "bytes"].
        var path: [String]
        var physical: Physical
        /// Bytes of a value of ``Physical/fixedBytes``.
        var width: Int
        /// Levels of a value that is there.
        var definition: Int
        /// 0 outside lists.
        var repetition: Int
    }

    /// A column's values of one group of rows.
    struct Chunk {
        /// Of the first page, the dictionary's where there is one.
        var offset = 0
        /// Bytes of all pages.
        var size = 0
        /// 0 plain, 1 snappy, 2 gzip, 6 zstd; others are not read.
        var codec = 0
        var values = 0
    }

    struct Group {
        var rows = 0
        /// One a leaf.
        var chunks: [Chunk] = []
    }

    private(set) var rows = 0
    private(set) var leaves: [Leaf] = []
    private(set) var groups: [Group] = []

    /// More rows than any file has; products with widths stay in range.
    private static let most = 1 << 40

    private struct Element {
        var name = ""
        var physical: Int?
        var width = 0
        /// 0 required, 1 optional, 2 repeated.
        var repetition = 0
        var children = 0
    }

    /// - Throws: where the bytes are not a footer, or one that contradicts itself.
    init(_ bytes: UnsafeRawBufferPointer) throws(ThriftCursor.Malformed) {
        var cursor = ThriftCursor(bytes)
        var elements: [Element] = []
        var (rows, groups) = (0, [Group]())
        try cursor.structure { (cursor, number, kind) throws(ThriftCursor.Malformed) in
            switch (number, kind) {
            case (2, .list):
                try cursor.list { (cursor) throws(ThriftCursor.Malformed) in elements.append(try Self.element(&cursor))
                }
            case (3, .int64): rows = try cursor.integer()
            case (4, .list):
                try cursor.list { (cursor) throws(ThriftCursor.Malformed) in groups.append(try Self.group(&cursor)) }
            default: return false
            }
            return true
        }
        (self.rows, self.groups) = (rows, groups)
        var next = 1
        for _ in 0..<(elements.first?.children ?? 0) {
            try walk(elements, &next, path: [], definition: 0, repetition: 0)
        }
        let counts = groups.map(\.rows)
        guard next == elements.count, (0...Self.most).contains(rows), counts.allSatisfy({ (0...rows).contains($0) }),
            counts.reduce(0, { $0.addingReportingOverflow($1).partialValue }) == rows,
            groups.allSatisfy({ $0.chunks.count == leaves.count })
        else { throw ThriftCursor.Malformed(offset: cursor.position) }
    }

    /// Turns the schema's tree, which is stored parents first, into columns.
    private mutating func walk(
        _ elements: [Element], _ next: inout Int, path: [String], definition: Int, repetition: Int
    ) throws(ThriftCursor.Malformed) {
        guard next < elements.count, path.count < 32 else { throw ThriftCursor.Malformed(offset: 0) }
        let element = elements[next]
        next += 1
        let definition = definition + (element.repetition == 0 ? 0 : 1)
        let isRepeated = element.repetition == 2
        let repetition = repetition + (isRepeated ? 1 : 0)
        if let physical = element.physical {
            guard let physical = Physical(rawValue: physical) else { throw ThriftCursor.Malformed(offset: 0) }
            // Of a list only the column's own name says something: `list` and `element` are the same everywhere.
            leaves.append(
                Leaf(
                    path: repetition > 0 && !path.isEmpty ? path : path + [element.name], physical: physical,
                    width: element.width, definition: definition, repetition: repetition))
            return
        }
        for _ in 0..<element.children {
            try walk(
                elements, &next, path: isRepeated || repetition > 0 ? path : path + [element.name],
                definition: definition, repetition: repetition)
        }
    }

    private static func element(_ cursor: inout ThriftCursor) throws(ThriftCursor.Malformed) -> Element {
        var element = Element()
        try cursor.structure { (cursor, number, kind) throws(ThriftCursor.Malformed) in
            switch (number, kind) {
            case (1, .int32): element.physical = try cursor.integer()
            case (2, .int32): element.width = try cursor.integer()
            case (3, .int32): element.repetition = try cursor.integer()
            case (4, .binary): element.name = try cursor.text()
            case (5, .int32): element.children = try cursor.integer()
            default: return false
            }
            return true
        }
        guard element.children >= 0 else { throw ThriftCursor.Malformed(offset: cursor.position) }
        return element
    }

    private static func group(_ cursor: inout ThriftCursor) throws(ThriftCursor.Malformed) -> Group {
        var group = Group()
        try cursor.structure { (cursor, number, kind) throws(ThriftCursor.Malformed) in
            switch (number, kind) {
            case (1, .list):
                try cursor.list { (cursor) throws(ThriftCursor.Malformed) in
                    group.chunks.append(try chunk(&cursor))
                }
            case (3, .int64): group.rows = try cursor.integer()
            default: return false
            }
            return true
        }
        return group
    }

    private static func chunk(_ cursor: inout ThriftCursor) throws(ThriftCursor.Malformed) -> Chunk {
        var chunk = Chunk()
        var dictionary: Int?
        try cursor.structure { (cursor, number, kind) throws(ThriftCursor.Malformed) in
            guard (number, kind) == (3, .structure) else { return false }
            try cursor.structure { (cursor, number, kind) throws(ThriftCursor.Malformed) in
                switch (number, kind) {
                case (4, .int32): chunk.codec = try cursor.integer()
                case (5, .int64): chunk.values = try cursor.integer()
                case (7, .int64): chunk.size = try cursor.integer()
                case (9, .int64): chunk.offset = try cursor.integer()
                case (11, .int64): dictionary = try cursor.integer()
                default: return false
                }
                return true
            }
            return true
        }
        if let dictionary, dictionary > 0 { chunk.offset = min(chunk.offset, dictionary) }
        return chunk
    }
}
