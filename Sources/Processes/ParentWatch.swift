import Foundation
import Glibc

/// Ends this process when the one that started it is gone: its standard input is a pipe from there, which then ends.
package enum ParentWatch {
    package static let variable = "CRAFT_ENDS_WITH_PARENT"

    package static func install() {
        guard ProcessInfo.processInfo.environment[variable] == "1" else { return }
        Thread.detachNewThread {
            var byte: UInt8 = 0
            while true {
                let count = read(STDIN_FILENO, &byte, 1)
                if count == 0 || (count < 0 && errno != EINTR) { _exit(130) }
            }
        }
    }
}
