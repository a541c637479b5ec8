internal import Synchronization

/// A name of the conversation as a number, so that values are found by index during a step.
///
/// The same text is the same slot in the whole process: hooks bound by one list and values offered by another part of a
/// host agree without a table to pass around. Making one looks the text up under a lock; make it once, not every step.
package struct ValueName: Hashable, Sendable, CustomStringConvertible {
    package let slot: Int

    init(slot: Int) { self.slot = slot }

    package init(_ text: String) { slot = Self.table.withLock { $0.slot(of: text) } }

    package var description: String { Self.table.withLock { $0.texts[slot] } }

    /// Names made so far.
    static var count: Int { table.withLock { $0.texts.count } }

    private static let table = Mutex(Table())

    private struct Table {
        var slots: [String: Int] = [:]
        var texts: [String] = []

        mutating func slot(of text: String) -> Int {
            if let known = slots[text] { return known }
            texts.append(text)
            slots[text] = texts.count - 1
            return texts.count - 1
        }
    }
}
