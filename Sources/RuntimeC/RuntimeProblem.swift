import Glibc

/// Why a function of the library failed, in a sentence.
struct RuntimeProblem: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// The sentence of the last failure, thread by thread.
enum LastError {
    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        // Fails only when the process has no key left; texts are then lost, statuses are not.
        pthread_key_create(&key) { free($0) }
        return key
    }()

    static func set(_ text: String) {
        free(pthread_getspecific(key))
        pthread_setspecific(key, strdup(text))
    }

    static var text: UnsafePointer<CChar> {
        guard let text = pthread_getspecific(key) else { return empty }
        return UnsafePointer(text.assumingMemoryBound(to: CChar.self))
    }

    nonisolated(unsafe) private static let empty: UnsafePointer<CChar> = {
        let text = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
        text.initialize(to: 0)
        return UnsafePointer(text)
    }()
}
