// Who we are to the API, and what we may do.

import { createContext, useContext } from "../vendor/preact.js";

export const SessionContext = createContext(null);
const RANK = { viewer: 0, submitter: 1, operator: 2 };

/** The session: { name, role, csrf, login, version }. */
const useSession = () => useContext(SessionContext);

/** Say whether the session's role is this one or a higher one. */
export function useMay(role) {
  const session = useSession();
  return session !== null && RANK[session.role] >= RANK[role];
}
