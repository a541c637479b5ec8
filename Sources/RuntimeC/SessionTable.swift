import Synchronization

/// The sessions that are open, by the number that stands for them outside.
///
/// The pointer that a host holds is that number and no address: one that was closed, or never was a session, is refused
/// instead of read. Numbers are not used twice.
enum SessionTable {
    private struct Table {
        var sessions: [UInt: RuntimeSession] = [:]
        var last: UInt = 0
    }

    private static let table = Mutex(Table())

    static func add(_ session: RuntimeSession) -> OpaquePointer? {
        table.withLock { table in
            table.last += 1
            table.sessions[table.last] = session
            // Aligned as an address would be: tools that look at pointers take it for one.
            return OpaquePointer(bitPattern: table.last << 4)
        }
    }

    /// Throws ``RuntimeProblem`` when there is no such session.
    static func session(_ pointer: OpaquePointer?) throws -> RuntimeSession {
        guard let pointer else { throw RuntimeProblem("the session is NULL") }
        let found = table.withLock { $0.sessions[UInt(bitPattern: pointer) >> 4] }
        guard let found, UInt(bitPattern: pointer) & 15 == 0 else {
            throw RuntimeProblem("there is no such session: it was closed, or never opened")
        }
        return found
    }

    /// The session ends when the last call with it does.
    static func remove(_ pointer: OpaquePointer) {
        _ = table.withLock { $0.sessions.removeValue(forKey: UInt(bitPattern: pointer) >> 4) }
    }
}
