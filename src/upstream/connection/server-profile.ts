/** What is known of the server of one connection. */
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { listQuestion } from '../link/fetch-lists.ts';

export class ServerProfile {
  /** Its initialize result; undefined before it. */
  hello: InitializeResult | undefined;
  /** Its tools could not be read last time. */
  isToolless = false;

  /** The list that shows whether it works. */
  get probeList(): string {
    return listQuestion(this.hello?.capabilities ?? {}, this.isToolless);
  }
}
