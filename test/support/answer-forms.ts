/** Forms of answers that servers give: each makes what is written from a good answer. */

export interface GoodAnswer {
  readonly id: number;
  /** JSON text of the result. */
  readonly result: string;
  /** The whole message. */
  readonly text: string;
}

/** A message that is framed as its wire demands, or the bytes on the wire as they are. */
export type Written = string | { readonly raw: string | Buffer };
export type AnswerForm = (good: GoodAnswer) => Written;

const reply = (members: string): string => `{"jsonrpc":"2.0",${members}}`;
const REFUSED = '{"code":-32029,"message":"slow down"}';

export const ANSWER_FORMS: Readonly<Record<string, AnswerForm>> = {
  // SV1: members that are null
  null_error: ({ id, result }) => reply(`"id":${id},"result":${result},"error":null`),
  null_method: ({ id, result }) => reply(`"id":${id},"method":null,"params":null,"result":${result}`),
  null_result: ({ id }) => reply(`"id":${id},"result":null,"error":${REFUSED}`),
  null_method_error: ({ id }) => reply(`"method":null,"error":${REFUSED},"result":null,"id":${id}`),
  // SV18: ids in another spelling
  string_id: ({ id, result }) => reply(`"id":"${id}","result":${result}`),
  float_id: ({ id, result }) => reply(`"id":${id}.0,"result":${result}`),
  exponent_id: ({ id, result }) => reply(`"id":${id}0e-1,"result":${result}`),
  float_text_id: ({ id, result }) => reply(`"result":${result},"id":"${id}.0"`),
  // SV26: errors without an id
  nameless_error: () => reply(`"id":null,"error":${REFUSED}`),
  error_without_id: () => reply(`"error":${REFUSED}`),
  error_text: ({ id }) => reply(`"id":${id},"error":"slow down"`),
  nameless_error_text: () => reply('"id":null,"error":"slow down"'),
};
