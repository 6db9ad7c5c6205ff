// A share in [0, 1] as sureness.py writes it: "under 1%" and "over 99%" rather than a nothing or an all that is none.
function perCent(share) {
  if (share > 0 && share < 0.01) return "<1%";
  return share > 0.99 && share < 1 ? ">99%" : `${(100 * share).toFixed(0)}%`;
}
