
from scratch as base
copy package.json \
  # comment
  docs/guide.txt \ 
  /continued/
From base
add docs/readme.md /
